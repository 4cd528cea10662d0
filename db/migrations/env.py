"""Alembic's entry point: runs each migration in a transaction, on the connection of `database.migrate`."""

from typing import cast

from alembic import context
from sqlalchemy import Connection

from db.tables import Base

connection = cast(Connection, context.config.attributes["connection"])
context.configure(connection=connection, target_metadata=Base.metadata, transaction_per_migration=True)
with context.begin_transaction():
    context.run_migrations()
