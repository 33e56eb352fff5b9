"""LiFT-U's configuration: volumes out of noise."""

from ml_collections import ConfigDict

LAYOUTS = ("phantom", "brats")
STAGES = ("encoder", "generator", "mapper")
PRIORS = ("principal", "normal")


def unconditional() -> ConfigDict:
    """Defaults of LiFT-U: volumes of one contrast, sampled from noise."""
    config = ConfigDict()
    config.task = "unconditional"
    config.seed = 0
    config.start_from = ""  # work directory of a trained run of the same network to begin with; "" begins at random

    config.data = data = ConfigDict()
    data.layout = "phantom"  # phantom, or brats: 128³ by WDM's protocol out of <root>/<case>/<case>-<contrast>.nii.gz
    data.root = ""  # folder of the cases (brats)
    data.split_file = ""  # JSON {"train": [names], "validation": …, "test": …}; "" splits by a hash of the names
    data.contrast = "t1n"
    data.spacing = 6.0  # phantom: voxel size, mm
    data.shape = (32, 32, 32)  # phantom: slices, rows, columns (D, H, W)
    data.phantom_seed = 0  # phantom: cases are a function of this and their index
    data.cases = ConfigDict({"train": 512, "validation": 64, "test": 64})  # phantom: sizes of the splits
    data.cache = ""  # folder of preprocessed volumes, shared between runs if named; "" is <workdir>/cache
    data.threads = 2  # reading ahead

    config.model = model = ConfigDict()
    model.encoder = ConfigDict(
        {
            "kind": "mae",  # mae: trained by stage encoder; alexnet, resnet18: of ImageNet; random: untrained
            "widths": (16, 32, 64),  # mae, random: features per resolution, finest first
            "blocks": 1,  # mae, random: residual blocks per resolution
            "groups": 8,
            "weights": "",  # resnet18: .safetensors file
        }
    )
    model.generator = ConfigDict(
        {
            "code": 64,  # numbers in a slice code
            "widths": (128, 96, 64),  # features per resolution, coarsest first
            "blocks": 1,  # residual blocks per resolution
            "head": 2,  # depth-to-space behind: 1, 2 or 4
            "groups": 8,
            "remat": False,  # recompute blocks in the backward pass: less memory, a third more time
            "dtype": "float32",  # of activations: float32 or bfloat16
        }
    )
    model.mapper = ConfigDict(
        {
            "code": 64,  # numbers in a volume code
            "hidden": 256,
            "layers": 5,  # residual layers
            "frequencies": 6,  # Fourier features of depth; half of the fastest wave is 2^(1 - this) of the volume
            "normalise": True,  # prior normal: slice codes keep the root mean square of the generator's own inputs
        }
    )
    model.prior = ConfigDict(
        {
            "kind": "principal",  # principal: begin as principal components of slices and volumes; normal: at random
        }
    )

    config.features = ConfigDict(
        {
            "grids": (1, 2, 4),  # mean and deviation of every map over g x g cells
            "local": 8,  # maps up to this side: the vector at each place; 0 none
            "pixels": 4,  # side of raw patches; 0 none
            "gradients": (1, 2, 4, 8),  # mean absolute differences of neighbouring pixels over g x g cells; () none
            "dtype": "float32",  # in which features of real volumes are kept: float32 or bfloat16
        }
    )
    config.loss = ConfigDict(
        {
            "field": "softmax_no_floor",  # drifting field: a name in losses.FIELDS
            "temperatures": (0.02, 0.05, 0.2),
            "particles": "segment",  # slice, segment, volume, unordered or unordered_segment
            "planes": ConfigDict({"axial": 1.0, "coronal": 1.0, "sagittal": 1.0}),  # weights of the mapper's terms
        }
    )
    config.optimiser = ConfigDict(
        {
            "weight_decay": 0.0,
            "clip": 1.0,  # global gradient norm
            "max_skipped": 10,  # steps without a finite loss and gradient, in a row, at which training stops
            "warmup": 100,  # steps to the full learning rate, cosine to zero from there
            "ema": 0.999,  # decay of the averaged parameters, which later stages and inference use
            "shard_state": False,  # divide optimiser state and averages over devices: less memory, the same numbers
        }
    )

    config.stages = STAGES  # in order; no encoder where its kind is not mae
    config.stage = ConfigDict()
    config.stage.encoder = ConfigDict(
        {
            "steps": 1000,
            "batch": 64,  # slices of all three planes a step, over all devices
            "rate": 1e-3,  # learning rate
            "patch": 4,  # side of a covered patch
            "covered": 0.5,  # part of the patches that are covered
        }
    )
    config.stage.generator = ConfigDict(
        {
            "steps": 2000,
            "batch": 128,  # generated slices a step, over all devices
            "positives": 128,  # real slices a step
            "decoding": 0.0,  # prior principal: weight of the error of real slices decoded from their own codes; 0 none
            "mixing": 0.0,  # of decoding: codes are moved towards random ones by up to this, below 1
            "rate": 2e-4,
        }
    )
    config.stage.mapper = ConfigDict(
        {
            "steps": 1000,
            "batch": 8,  # generated volumes a step, over all devices
            "positives": 32,  # real volumes a step
            "positions": 12,  # depth positions along each plane
            "rate": 2e-4,
            "chunk": 256,  # slices that the gradient is taken through at a time
        }
    )
    config.checkpoint = ConfigDict({"every": 500, "keep": 2})  # steps; and how many are kept
    config.log = ConfigDict(
        {
            "every": 20,  # steps
            "validate": 500,  # steps
            "validation_cases": 64,  # volumes compared
            "profile": (0, 0),  # first and last step of each stage that are traced, into tensorboard/; (0, 0) none
        }
    )
    config.inference = ConfigDict(
        {
            "chunk": 64,  # slices on the device at a time
            "deviation": 1.0,  # of the numbers of a volume's code; trained with 1
        }
    )
    return config.lock()
