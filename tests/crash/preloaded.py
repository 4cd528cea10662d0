"""The last module that the fork server imports: it prepares what all forked processes share."""

import gc

from temporalio.worker._worker import load_default_build_id

load_default_build_id()
# Otherwise the first garbage collection of each process visits everything that was imported, and so copies it.
gc.collect()
gc.freeze()
