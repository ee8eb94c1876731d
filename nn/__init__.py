"""Neural networks: modules, layers, losses, initialisers, optimizers, data; thin and stateful over
functorch_like.

Laid out as torch.nn, with torch.optim as nn.optim and torch.utils.data as nn.data. Layers, and the
parts that a model may do without, are imported at first use.
"""

from typing import TYPE_CHECKING

from nn.later import later
from nn.module import Module
from nn.parameter import Buffer, Parameter
from nn.stateless import (
    functional_call,
    replace_all_batch_norm_modules_,
    stack_module_state,
)

if TYPE_CHECKING:
    from functorch_like.serialization import load, save, save_npz, save_sharded
    from nn import (
        audio,
        data,
        distributed,
        functional,
        init,
        metrics,
        optim,
        text,
        training,
        utils,
        vision,
    )
    from nn.layers.activation import *
    from nn.layers.adaptive_softmax import *
    from nn.layers.attention import *
    from nn.layers.batch_norm import *
    from nn.layers.container import *
    from nn.layers.conv import *
    from nn.layers.distance import *
    from nn.layers.dropout import *
    from nn.layers.embedding import *
    from nn.layers.lazy import *
    from nn.layers.linear import *
    from nn.layers.loss import *
    from nn.layers.margin_loss import *
    from nn.layers.norm import *
    from nn.layers.padding import *
    from nn.layers.pooling import *
    from nn.layers.position import *
    from nn.layers.rnn import *
    from nn.layers.rnn_cell import *
    from nn.layers.shape import *
    from nn.layers.transformer import *
    from nn.training.trainer import Trainer

# the layers by the module of nn.layers that has them in its __all__
_LAYERS = {
    "activation": """
        CELU ELU GELU GLU SELU Hardshrink Hardsigmoid Hardswish Hardtanh LeakyReLU LogSigmoid
        LogSoftmax Mish PReLU RReLU ReLU ReLU6 SiLU Sigmoid Softmax Softmax2d Softmin Softplus
        Softshrink Softsign Tanh Tanhshrink Threshold
    """,
    "adaptive_softmax": "AdaptiveLogSoftmaxWithLoss",
    "attention": "MultiheadAttention",
    "batch_norm": """
        BatchNorm1d BatchNorm2d BatchNorm3d InstanceNorm1d InstanceNorm2d InstanceNorm3d
        SyncBatchNorm
    """,
    "container": "ModuleDict ModuleList ParameterDict ParameterList Sequential",
    "conv": """
        Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d
    """,
    "distance": "CosineSimilarity PairwiseDistance",
    "dropout": """
        AlphaDropout Dropout Dropout1d Dropout2d Dropout3d FeatureAlphaDropout
    """,
    "embedding": "Embedding EmbeddingBag",
    "lazy": """
        LazyBatchNorm1d LazyBatchNorm2d LazyBatchNorm3d LazyConv1d LazyConv2d LazyConv3d
        LazyConvTranspose1d LazyConvTranspose2d LazyConvTranspose3d LazyInstanceNorm1d
        LazyInstanceNorm2d LazyInstanceNorm3d LazyLinear UninitializedBuffer
        UninitializedParameter
    """,
    "linear": "Bilinear Identity Linear",
    "loss": """
        BCELoss BCEWithLogitsLoss CrossEntropyLoss HuberLoss KLDivLoss L1Loss
        LinearCrossEntropyLoss MSELoss NLLLoss NLLLoss2d SmoothL1Loss
    """,
    "margin_loss": """
        CTCLoss CosineEmbeddingLoss GaussianNLLLoss HingeEmbeddingLoss MarginRankingLoss
        MultiLabelMarginLoss MultiLabelSoftMarginLoss MultiMarginLoss PoissonNLLLoss
        SoftMarginLoss TripletMarginLoss TripletMarginWithDistanceLoss
    """,
    "norm": "GroupNorm LayerNorm LocalResponseNorm RMSNorm",
    "padding": """
        CircularPad1d CircularPad2d CircularPad3d ConstantPad1d ConstantPad2d ConstantPad3d
        ReflectionPad1d ReflectionPad2d ReflectionPad3d ReplicationPad1d ReplicationPad2d
        ReplicationPad3d ZeroPad1d ZeroPad2d ZeroPad3d
    """,
    "pooling": """
        AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d AdaptiveMaxPool1d
        AdaptiveMaxPool2d AdaptiveMaxPool3d AvgPool1d AvgPool2d AvgPool3d FractionalMaxPool2d
        FractionalMaxPool3d LPPool1d LPPool2d LPPool3d MaxPool1d MaxPool2d MaxPool3d MaxUnpool1d
        MaxUnpool2d MaxUnpool3d
    """,
    "position": "ALiBi KVCache RotaryEmbedding",
    "rnn": "GRU LSTM RNN RNNBase",
    "rnn_cell": "GRUCell LSTMCell RNNCell RNNCellBase",
    "shape": """
        ChannelShuffle Flatten Fold PixelShuffle PixelUnshuffle Unflatten Unfold Upsample
        UpsamplingBilinear2d UpsamplingNearest2d
    """,
    "transformer": """
        Transformer TransformerDecoder TransformerDecoderLayer TransformerEncoder
        TransformerEncoderLayer
    """,
}
_HOME = {name: f"nn.layers.{home}" for home, names in _LAYERS.items() for name in names.split()}
_HOME |= {
    "Trainer": "nn.training.trainer",
    "load": "functorch_like.serialization",
    "save": "functorch_like.serialization",
    "save_npz": "functorch_like.serialization",
    "save_sharded": "functorch_like.serialization",
}
_MODULES = """
    audio data distributed functional init metrics optim text training utils vision
""".split()

__all__ = ["Buffer", "Module", "Parameter", "functional_call", "replace_all_batch_norm_modules_"]
__all__ += ["stack_module_state"]
__all__ += [*_HOME, *_MODULES]


__getattr__, __dir__ = later(__name__, _MODULES, _HOME)
