from lift_jax.data.splits import patient_of
from scripts.link_brats_split import official_split


def test_the_official_validation_data_test_and_no_patient_trains_and_validates():
    training = [f"BraTS-GLI-{patient:05d}-{time:03d}" for patient in range(100) for time in range(1 + patient % 2)]
    validation = [f"BraTS-GLI-{patient:05d}-000" for patient in range(200, 220)]
    split = official_split(training, reversed(validation))
    assert split["test"] == validation
    assert sorted(split["train"] + split["validation"]) == training
    patients = {part: {patient_of(name) for name in split[part]} for part in ("train", "validation")}
    assert not patients["train"] & patients["validation"] and len(patients["validation"]) == 5
