"""PostgreSQL and, by the same SQL, Aurora DSQL: one connection a lane, one statement a batch.

The only package that meets asyncpg. ``sql/`` has a file per statement, ``schema/`` the numbered
migrations; nothing here decides anything.
"""
