"""The shop's file, which is imported again and again: all of it or a part, with other names and new customers."""

from random import Random

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from database import Sessions
from db.transactions import is_unreachable
from db.vault import Vault
from services.import_format import ImportFile
from services.imports import write_import
from tests.chaos.log import RunLog
from tests.chaos.randomness import Clock, random_stream
from tests.chaos.shop import NEW, ChaosShop, NoisyShop

EVERY_SECONDS = (5.0, 12.0)
NEW_EACH_TIME = 2


class Imports:
    """`failures`: imports that failed although the database was there."""

    def __init__(self, shop: NoisyShop, store: Sessions, vault: Vault, log: RunLog, *, seed: int) -> None:
        self.failures: list[str] = []
        self._shop = shop
        self._store = store
        self._vault = vault
        self._log = log
        self._random = random_stream(seed, "imports")
        self._version = 0

    async def run(self, clock: Clock) -> None:
        pause = self._random.uniform(1, 3)  # a short run has imports, too
        while await clock.sleep(pause):
            pause = self._random.uniform(*EVERY_SECONDS)
            customers = _choose(self._random, self._shop, known=self._version * NEW_EACH_TIME)
            try:
                await self.write(self._shop, customers)
            except (OSError, SQLAlchemyError) as error:
                # The driver names its error; the one around it often says less.
                cause = error.orig.__cause__ if isinstance(error, DBAPIError) and error.orig else error
                self._log.add(f"import {self._version} failed: {type(cause).__name__}")
                if not is_unreachable(error):
                    self.failures.append(f"import {self._version}: {type(cause).__name__}")

    async def write(self, shop: ChaosShop, customers: list[str] | None = None) -> None:
        """Import the next version of the shop with these customers, by default with all."""
        file = ImportFile.model_validate({"shops": [shop.document(customers, version=self._version)]})
        self._version += 1
        self._log.actions["import"] += 1
        self._log.add(f"import {self._version} of {len(file.shops[0].customers)} customers")
        await write_import(self._store, self._vault, file)
        self._log.add(f"import {self._version} is done")


def _choose(random: Random, shop: NoisyShop, *, known: int) -> list[str]:
    """The known customers, or some of them, and some new ones."""
    known_ones = [*shop.known, *NEW[:known]]
    if random.random() < 0.5:
        known_ones = random.sample(known_ones, len(known_ones) // 4)
    return [*known_ones, *NEW[known : known + NEW_EACH_TIME]]
