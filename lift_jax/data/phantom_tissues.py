"""The phantom's tissue classes, in the order of every tissue axis."""

TISSUES = ("grey", "white", "fluid", "vessel", "core", "rim", "oedema", "membrane")
"""Grey and white matter, cerebrospinal fluid, blood in vessels, the tumour's necrotic core and enhancing rim, and
water-rich white matter, which stands for both oedema and white-matter lesions. Membrane is dura left over by skull
stripping and choroid plexus: tissue outside the blood-brain barrier, which enhances."""

GREY, WHITE, FLUID, VESSEL, CORE, RIM, OEDEMA, MEMBRANE = range(len(TISSUES))
