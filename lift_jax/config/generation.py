"""LiFT-U's configuration: volumes out of noise."""

from ml_collections import ConfigDict

from lift_jax.config.data import data_section

STAGES = ("encoder", "generator", "mapper")
PRIORS = ("pca", "random")


def generation() -> ConfigDict:
    """Defaults of LiFT-U: volumes of one channel, sampled from noise."""
    config = ConfigDict()
    config.task = "generation"  # translation or generation
    config.seed = 0  # of parameters, data order and all that is drawn
    config.start_from = ""  # work directory of a trained run of the same network to begin with; "" begins at random

    config.data = data = data_section()
    data.targets = ("t1n",)  # the channel that is generated
    data.spacing = 6.0  # of scans on BraTS's grid, 0 with size (0, 0, 0): 128³ by WDM's protocol
    data.size = (32, 32, 32)
    data.subjects.update(train=512, validation=64, test=64)

    config.model = model = ConfigDict()
    model.encoder = ConfigDict(
        {
            "kind": "mae",  # mae: trained by stage encoder; alexnet, resnet18: of ImageNet; random: untrained
            "widths": (16, 32, 64),  # mae, random: features per resolution, finest first
            "blocks": 1,  # mae, random: residual blocks per resolution
            "groups": 8,  # of every GroupNorm
            "weights": "",  # resnet18: .safetensors file
        }
    )
    model.generator = ConfigDict(
        {
            "slice_latent_dim": 64,  # numbers in the latent of a slice
            "widths": (128, 96, 64),  # features per resolution, coarsest first
            "blocks": 1,  # residual blocks per resolution
            "depth_to_space": 2,  # depth-to-space behind: 1, 2 or 4
            "groups": 8,  # of every GroupNorm
            "remat": False,  # recompute blocks in the backward pass: less memory, a third more time
            "dtype": "float32",  # of activations: float32 or bfloat16
        }
    )
    model.mapper = ConfigDict(
        {
            "volume_latent_dim": 64,  # numbers in the latent of a volume
            "hidden": 256,  # width of its layers
            "layers": 5,  # residual layers
            "normalize": True,  # prior normal: slice codes keep the root mean square of the generator's own inputs
        }
    )
    model.prior = ConfigDict(
        {
            "init": "pca",  # pca: begin as principal components of slices and volumes; random: at random
        }
    )

    config.features = ConfigDict(
        {
            "grids": (1, 2, 4),  # mean and deviation of every map over g x g cells
            "local": 8,  # maps up to this side: the vector at each place; 0 none
            "pixels": 4,  # side of raw patches; 0 none
            "gradients": (1, 2, 4, 8),  # mean absolute differences of neighboring pixels over g x g cells; () none
            "dtype": "float32",  # in which features of real volumes are kept: float32 or bfloat16
        }
    )
    config.loss = ConfigDict(
        {
            "field": "softmax_no_floor",  # drifting field: a name in losses.FIELDS
            "temperatures": (0.02, 0.05, 0.2),  # of the field, in units of the mean distance; all are added up
            "particles": "segment",  # slice, segment, volume, unordered or unordered_segment
            "planes": ConfigDict({"axial": 1.0, "coronal": 1.0, "sagittal": 1.0}),  # weights of the mapper's terms
        }
    )
    config.optimizer = ConfigDict(
        {
            "weight_decay": 0.0,  # of AdamW; 0 is Adam
            "clip_norm": 1.0,  # global gradient norm
            "max_nonfinite_steps": 10,  # steps without a finite loss and gradient, in a row, at which training stops
            "warmup_steps": 100,  # steps to the full learning rate, cosine to zero from there
            "ema_decay": 0.999,  # decay of the averaged parameters, which later stages and inference use
            "shard_state": False,  # divide optimizer state and averages over devices: less memory, the same numbers
        }
    )

    config.stages = STAGES  # in order; no encoder where its kind is not mae
    config.stage = ConfigDict()
    config.stage.encoder = ConfigDict(
        {
            "steps": 1000,  # of the optimizer
            "batch": 64,  # slices of all three planes a step, over all devices
            "learning_rate": 1e-3,  # of Adam
            "mask_patch_size": 4,  # side of a covered patch
            "mask_ratio": 0.5,  # part of the patches that are covered
        }
    )
    config.stage.generator = ConfigDict(
        {
            "steps": 2000,  # of the optimizer
            "batch": 128,  # generated slices a step, over all devices
            "positives": 128,  # real slices a step
            "reconstruction_weight": 0.0,  # init pca: of real slices decoded from their own latents; 0 none
            "latent_interpolation": 0.0,  # of reconstruction: latents move towards random ones by up to this, below 1
            "learning_rate": 2e-4,  # of Adam
        }
    )
    config.stage.mapper = ConfigDict(
        {
            "steps": 1000,  # of the optimizer
            "batch": 8,  # generated volumes a step, over all devices
            "positives": 32,  # real volumes a step
            "positions": 12,  # depth positions along each plane
            "learning_rate": 2e-4,  # of Adam
            "chunk": 256,  # slices that the gradient is taken through at a time
        }
    )
    config.checkpoint = ConfigDict({"every_steps": 500, "max_to_keep": 2})  # steps between them; how many are kept
    config.log = ConfigDict(
        {
            "every_steps": 20,  # steps between lines of the log
            "validate_every_steps": 500,  # steps between validations
            "validation_subjects": 64,  # volumes compared
            "profile": (0, 0),  # first and last step of each stage that are traced, into tensorboard/; (0, 0) none
        }
    )
    config.inference = ConfigDict(
        {
            "chunk": 64,  # slices on the device at a time
            "temperature": 1.0,  # of the numbers of a volume's code; trained with 1
        }
    )
    return config.lock()
