#!/opt/dialplane/bin/python
r"""A site's own AGI script, to be copied: who calls? Looks the caller up in a file of the site and tells the dialplan.

In /etc/asterisk/dialplane-local/site.conf, reached by a rule with action `application`, target `known` (the guide,
"Scripts of your own"):

    [site-known]
    exten => s,1,AGI(my-site.py,/etc/asterisk/customers.csv,${CALLERID(num)})
     same => n,ExecIf($["${SITE_NAME}" != ""]?Set(CALLERID(name)=${SITE_NAME}))
     same => n,Gosub(dp-next,s,1(${IF($["${SITE_STEP}" = ""]?group:sales:${SITE_STEP})},20))

The file has lines `number,name,step`: `+4930123456,Miller,group:support`.

Without Asterisk (what it says of the call, an empty line, a reply for each command):

    printf '%s\n' 'agi_arg_1: customers.csv' 'agi_arg_2: +4930123456' '' '200 result=1' '200 result=1' | ./my-site.py

A process is started for each call. Beyond a few calls a second, listen yourself instead (agi://127.0.0.1:<port>/).
"""

import csv
import io
import sys

from asterisk.agi import AGI, AGIException


def quoted(text: str) -> str:
    """One argument of a command. pyst2 puts quotes around a value and escapes none inside: do it here.

    A line feed would end the command and begin another one, which the caller had chosen: it goes.
    """
    clean = "".join(letter for letter in text if letter.isprintable())
    return '"' + clean.replace("\\", "\\\\").replace('"', '\\"') + '"'


def find(path: str, number: str) -> tuple[str, str]:
    """Name and step of a number; empty: not in the file."""
    with open(path, newline="", encoding="utf-8") as file:
        for row in csv.reader(file):
            if len(row) >= 3 and row[0] == number:
                return row[1], row[2]
    return "", ""


def main() -> int:
    # Standard output belongs to Asterisk: print nothing there. pyst2 repeats all it hears on its stderr, which is
    # Asterisk's console: give it a place of its own. AGI() sets a signal handler, so make it in the main thread.
    agi = AGI(stderr=io.StringIO())
    try:
        # Arguments of AGI() are agi_arg_1, agi_arg_2, ...; callers choose what stands in the second.
        name, step = find(agi.env["agi_arg_1"], agi.env.get("agi_arg_2", ""))
        agi.execute(f"SET VARIABLE SITE_NAME {quoted(name)}")
        agi.execute(f"SET VARIABLE SITE_STEP {quoted(step)}")
    except (AGIException, ValueError):
        # The caller hung up (pyst2 says so by several exceptions, and by a ValueError when its input has ended).
        return 0
    except (OSError, KeyError) as error:
        # What is printed to standard error shows on Asterisk's console. The call goes on with the next priority.
        print(f"example-site: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
