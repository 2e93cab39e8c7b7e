"""The smallest configuration under which an agent's Asterisk works."""

FILES = {
    "asterisk.conf": "[options]\nnocolor = yes\n",
    "manager.conf": (
        "[general]\nenabled = yes\nbindaddr = 0.0.0.0\nport = 5038\n"
        "[agent]\nsecret = contract\nread = all\nwrite = all\n"
    ),
    "modules.conf": "[modules]\nautoload = no\npreload = res_config_sqlite3.so\n"
    + "".join(
        f"load = {module}.so\n"
        for module in (
            "pbx_config",
            "func_evalexten",
            "func_dialplan",
            "func_extstate",
            "app_voicemail",
            "func_channel",
        )
    ),
    "extconfig.conf": "[settings]\n"
    "dialplane-accounts.conf => sqlite3,dialplane,ast_config\nvoicemail => sqlite3,dialplane,voicemail\n",
    "res_config_sqlite3.conf": "[dialplane]\ndbfile => @DIR@/state.db\nbatch => 0\nbusy_timeout => 2000\n",
    "extensions.conf": '[general]\n[base]\nexten => s,1,NoOp()\n#include "dialplane-accounts.conf"\n',
    "voicemail.conf": "[general]\nformat = wav\n",
    "indications.conf": "[general]\ncountry = us\n[us]\ndescription = x\nringcadence = 2000,4000\ndial = 350+440\n",
    **dict.fromkeys(
        ("logger.conf", "features.conf", "acl.conf", "udptl.conf", "ccss.conf", "cdr.conf", "cel.conf"),
        "[general]\n",
    ),
}
