"""Alembic's entry: runs the migrations on the connection it is handed."""

from typing import cast

from alembic import context
from sqlalchemy import Connection

from db.tables import Base

connection = cast(Connection, context.config.attributes["connection"])
context.configure(connection=connection, target_metadata=Base.metadata, transaction_per_migration=True)
with context.begin_transaction():
    context.run_migrations()
