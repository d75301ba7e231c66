"""The errors a user can meet: each says what came, what was expected, and what to do."""


class NeuralGraphsError(Exception):
    """Base of all errors that this library raises on purpose; the command line prints it as one line, exit code 2.

    Examples:
        >>> import neural_graphs as ng
        >>> try:
        ...     ng.from_pretrained("mnist-irn")
        ... except ng.NeuralGraphsError as error:
        ...     print(type(error).__name__)
        ConfigError
    """


class LayoutError(NeuralGraphsError):
    """A structure that contradicts itself, or parameters whose names or shapes do not fit the layout given for them."""


class ZooError(NeuralGraphsError):
    """A zoo that is missing, incomplete, truncated or of another format; names the file."""


class CheckpointError(NeuralGraphsError):
    """A file of parameters that cannot be read, or holds something unexpected; names the file and the tensor."""


class ImageError(NeuralGraphsError):
    """An image source that is missing, empty or damaged; names the folder or file."""


class ConfigError(NeuralGraphsError):
    """A configuration with an unknown key or an impossible value; names the key and the nearest valid one."""


class MemoryNeeded(NeuralGraphsError):
    """A batch of networks that needs more memory than there is; says how much, and what would need less."""


class GradientError(NeuralGraphsError):
    """A gradient that no step can be made of, NaN or infinite; names the tensor."""


class HubError(NeuralGraphsError):
    """Something of the Hugging Face Hub that is not there, not open to you, or out of reach; names it."""


def reason(error: Exception, most: int = 200) -> str:
    """The first line of what another library says, of `most` characters, or the kind of its error where it says
    nothing."""
    return str(error).strip().partition("\n")[0][:most] or type(error).__name__
