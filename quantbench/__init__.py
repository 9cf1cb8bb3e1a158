"""What int8 quantization does to a network's accuracy, measured."""

import warnings

__version__ = "0.1.0"

# conf/hydra/launcher/ changes some defaults of the launchers' own files, so it has files of the same names. Hydra
# checks them against those, which is welcome, and warns in every process that it may cease to do so.
warnings.filterwarnings("ignore", r"\s*'hydra/launcher/\w+' is validated against ConfigStore schema", UserWarning)
