"""Alembic's entry point: runs the migrations on the connection, and inside the transaction, of `database.migrate`."""

from typing import cast

from alembic import context
from sqlalchemy import Connection

from db.tables import Base

connection = cast(Connection, context.config.attributes["connection"])
context.configure(connection=connection, target_metadata=Base.metadata)
context.run_migrations()
