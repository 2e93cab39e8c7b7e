"""SQL migrations, and the database a person named or the embedded one."""
