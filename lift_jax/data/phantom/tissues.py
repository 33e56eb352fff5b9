"""The phantom's tissue classes, in the order of every tissue axis."""

TISSUES = ("gray", "white", "fluid", "vessel", "core", "rim", "edema", "membrane")
"""Gray and white matter, cerebrospinal fluid, blood in vessels, the tumor's necrotic core and enhancing rim, and
water-rich white matter, which stands for both edema and white-matter lesions. Membrane is dura left over by skull
stripping and choroid plexus: tissue outside the blood-brain barrier, which enhances."""

GREY, WHITE, CSF, VESSEL, CORE, RIM, OEDEMA, MEMBRANE = range(len(TISSUES))
