#!/bin/bash
# Brings the schema up to date, then gives each login role of the stack its password and its group.
set -euo pipefail
dialplane db migrate
for role in admin controller agent dns fraud; do
  groups=dialplane_$role
  # The operator edits rows and publishes them.
  [ "$role" = admin ] && groups="$groups, dialplane_controller"
  {
    printf "\\set password '%s'\n" "$(sed -n "s/^\*:\*:\*:$role://p" "$PGPASSFILE")"
    cat <<END
SELECT 'CREATE ROLE $role LOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '$role') \gexec
ALTER ROLE $role PASSWORD :'password';
GRANT $groups TO $role;
END
  } | psql -q -v ON_ERROR_STOP=1 "$DIALPLANE_DATABASE"
done
