from maestro.library.client import connect as connect
from maestro.model import errors as errors

__version__: str
