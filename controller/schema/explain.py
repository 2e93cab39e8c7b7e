"""What a refused row means, in words: one sentence per constraint of the database, with what to do.

Checks of the rows people edit say it themselves: the comment of the constraint (migration 0110). So do rules that need
more than one row (0005). These are for unique names, references, and checks of what dialplane writes. A test holds that
no constraint is without one.
"""

from __future__ import annotations

import psycopg

from controller.schema import decision_forms, feature_forms, fraud_forms, queue_forms

_TEXT = "up to 80 characters without ; = double quotes \\ $ ` { } < > | or control characters"

# Forms of values, as the comments of control.fits_*() have them: a test compares.
FORMS = {
    "slug_form": "1 to 32 lower-case letters, digits and inner hyphens, such as acme or carrier-a",
    "dns_name_form": "a DNS name in lower case with a dot, such as acme.example",
    "host_form": "a host name in lower case or an IPv4 address",
    "host_address_single": "one IP address, not a network",
    "port_range": "a port from 1 to 65535",
    "weight_range": "a weight from 1 to 1000",
    "priority_range": "a priority from 0 to 65535",
    "call_limit_range": "a limit from 0 to 100000, or nothing for no limit",
    "seconds_range": "a time from 1 to 600 seconds",
    "e164_form": "a number with + and country code, such as +4930555010",
    "number_prefix_form": "the first digits of a number after the +, such as 49, or empty for every number",
    "dialable_form": "1 to 16 digits and stars, such as 101 or *98",
    "mailbox_form": "1 to 16 digits",
    "emergency_form": "2 to 6 digits, such as 112",
    "sip_user_form": "1 to 64 lower-case letters, digits, dots, hyphens and underscores, such as alice or desk1",
    "auth_name_form": "1 to 128 letters, digits and + . _ @ -",
    "ha1_md5_form": "32 hex digits: a digest. Let set_device_password() or set_trunk_password() make it",
    "ha1_sha256_form": "64 hex digits: a digest. Let set_device_password() make it",
    "pin_digest_form": "40 hex digits: a digest. Let set_mailbox_pin() make it",
    "label_form": _TEXT,
    "word_form": "one word of lower-case letters, digits and hyphens, such as fraud",
    "country_form": "two capital letters, such as DE",
    "language_form": "a language such as de, en or en_GB",
    "email_form": "an e-mail address, such as alice@acme.example",
    **decision_forms.FORMS,
}

_CHECKS = {
    "audit_verb": "verb is insert, update or delete",
    "call_records_direction": "direction is internal, inbound or outbound",
    "change_cursor_state": "state is configuration or operational",
    "change_log_state": "state is configuration or operational",
    "change_log_verb": "verb is insert, update or delete",
    "changes_change": "a change has an old value that differs from the new one",
    "changes_kind": "kind is edge or media",
    "entries_kind": "kind is edge or media",
    "name_serial_one": "there is one serial",
    "node_commands_done": "a command that is done has a result, and only then",
    "node_commands_taken": "a command is taken before it is done",
    "node_state_kind": "kind is edge or media",
    "revisions_order": "a revision stands on an earlier one",
    "revisions_state": "state is configuration or operational",
    **feature_forms.CHECKS,
    **queue_forms.CHECKS,
}

_NAMES = {
    "account_services_key": "the account has this service already: change that row",
    "accounts_name_key": "another account has this name: take another",
    "blocks_key": "this is blocked already: change or lift that block",
    "clusters_name_key": "another cluster has this name: take another",
    "device_groups_name_key": "another device group has this name: take another",
    "devices_name_key": "another device of the domain has this name: take another",
    "domains_name_key": "an account has this domain already: a domain belongs to one account",
    "emergency_numbers_number_key": "the country has this emergency number already",
    "emergency_routes_key": "the emergency number has this trunk already: change its priority",
    "extensions_extension_key": "the account has this extension already: take another",
    "nodes_address_key": "another node has this address and port: give one of them another",
    "nodes_media_address_key": "another media node has this address: edges tell media nodes apart by it",
    "nodes_name_key": "another node has this name: take another",
    "numbers_e164_key": "an account has this number already: delete it there first",
    "routes_key": "this route is there already: change its priority or weight",
    "trunks_name_key": "another trunk has this name: take another",
    "users_name_key": "the account has a user of this name already: take another",
    "voicemail_boxes_mailbox_key": "the account has this mailbox already: take another",
    "trunk_addresses_overlap": "a trunk has this address or part of it already: an address belongs to one trunk",
    "countries_pkey": "this country is there already",
    "account_moves_account_key": "the batch has this account already",
    "account_moves_open_key": "the account is on its way in another batch: let that end, or roll it back",
    "account_moves_position_key": "the batch has an account at this place already",
    "settings_pkey": "this setting is there already: update its value",
    "node_state_pkey": "this node has a state already",
    "change_cursor_pkey": "there is one cursor per state",
    "call_records_pkey": "this call has a record already",
    "call_events_line_key": "this line was shipped already",
    "message_deliveries_key": "the message has a delivery to this address already",
    "fraud_verdicts_key": "this verdict was said already",
    "disagreements_key": "this disagreement stands there already",
    "changes_pkey": "the revision changes this entry already",
    "entries_pkey": "this entry is there already",
    "held_pkey": "this account is held already",
    "fraud_incidents_key": "this verdict is an incident already",
    "fraud_actions_key": "an incident brings an action about once",
    "revisions_pkey": "somebody else published this revision: plan again",
    **decision_forms.NAMES,
    **feature_forms.NAMES,
    **queue_forms.NAMES,
    **fraud_forms.NAMES,
}

# (the row names something missing, something still names the row)
_REFERENCES = {
    "account_services_cluster_fkey": (
        "there is no such cluster",
        "services of accounts are served by this cluster: move them first",
    ),
    "account_services_overflow_fkey": (
        "there is no such cluster",
        "services of accounts overflow to this cluster: give them another first",
    ),
    "account_moves_move_fkey": ("there is no such batch of moves", "accounts are in this batch"),
    "account_moves_source_fkey": ("there is no such cluster", "accounts moved from this cluster"),
    "account_moves_target_fkey": ("there is no such cluster", "accounts moved to this cluster"),
    "accounts_device_group_fkey": (
        "there is no such device group",
        "phones of accounts sign in at this device group: give them another first",
    ),
    "clusters_overflow_fkey": (
        "there is no such cluster",
        "another cluster overflows to this one: give it another first",
    ),
    "accounts_cluster_fkey": (
        "there is no such cluster",
        "accounts are served by this cluster: move them first",
    ),
    "accounts_country_fkey": ("there is no such country", "accounts are in this country"),
    "devices_domain_fkey": (
        "the account has no such domain",
        "devices are in this domain: delete or move them first",
    ),
    "devices_user_fkey": ("the account has no such user", "devices ring for this user"),
    "emergency_numbers_country_fkey": ("there is no such country", "the country has emergency numbers"),
    "emergency_routes_number_fkey": (
        "there is no such emergency number",
        "the emergency number has routes",
    ),
    "emergency_routes_trunk_fkey": (
        "there is no such trunk",
        "emergency calls leave by this trunk: give them another first",
    ),
    "extensions_user_fkey": (
        "the account has no such user",
        "extensions ring this user: delete or change them first",
    ),
    "held_revision_fkey": ("there is no such revision", "an account is held at this revision"),
    "nodes_cluster_fkey": ("there is no such cluster", "media nodes are in this cluster: move them first"),
    "nodes_device_group_fkey": (
        "there is no such device group",
        "edges are in this device group: move them first",
    ),
    "numbers_extension_fkey": (
        "the account has no such extension",
        "numbers lead to this extension: lead them elsewhere first",
    ),
    "routes_trunk_fkey": (
        "there is no such trunk",
        "routes leave by this trunk: delete or change them first",
    ),
    "trunk_addresses_trunk_fkey": ("there is no such trunk", "the trunk has addresses"),
    "voicemail_boxes_user_fkey": ("the account has no such user", "mailboxes belong to this user"),
    "changes_revision_fkey": ("there is no such revision", "revisions are never deleted"),
    "revisions_base_fkey": ("there is no such revision", "revisions are never deleted"),
    "revisions_rolls_back_fkey": ("there is no such revision", "revisions are never deleted"),
    **decision_forms.REFERENCES,
    **feature_forms.REFERENCES,
    **queue_forms.REFERENCES,
    **fraud_forms.REFERENCES,
}
_OWNER = ("there is no such account", "rows belong to this account")
_ROW_NUMBER = "the database numbers rows by itself: leave id out"


def sentence(constraint: str, *, still_named: bool = False) -> str | None:
    """What the constraint of that name wants; None: it is not known here (a check of public says it itself).

    `still_named`, for references: the row cannot go because others name it.
    """
    if text := _CHECKS.get(constraint) or _NAMES.get(constraint):
        return text
    if constraint in _REFERENCES:
        return _REFERENCES[constraint][still_named]
    if constraint.endswith("_account_fkey"):
        return _OWNER[still_named]
    if constraint.endswith(("_pkey", "_id_key")):
        return _ROW_NUMBER
    return None


def explain(error: psycopg.Error) -> str:
    """What the database refused, in words, with what to do. Never holds a value of a password or digest column."""
    diag = error.diag
    said = diag.message_primary or str(error).strip() or type(error).__name__
    if isinstance(error, psycopg.errors.NotNullViolation):
        return f"{diag.column_name} is missing: it needs a value"
    if diag.constraint_name:
        still_named = "update or delete on table" in said
        text = sentence(diag.constraint_name, still_named=still_named)
        if text:
            column = f"{diag.column_name}: " if diag.column_name else ""
            return f"{column}{text}"
    hint = diag.message_hint or ""
    if hint and said.startswith(f"{diag.table_name} "):
        # control.refuse() names the row, which whoever asks here has done already.
        column = f"{diag.column_name}: " if diag.column_name else ""
        return column + hint[0].lower() + hint[1:].removesuffix(".")
    return f"{said}. {hint}" if hint else said
