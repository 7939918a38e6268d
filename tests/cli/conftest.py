from tests.cli.running import run
from tests.training.small import small_config, small_model, small_run, small_set

__all__ = ["run", "small_config", "small_model", "small_run", "small_set"]
