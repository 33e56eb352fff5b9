"""Synthetic CTs of NIfTI cases, in Hounsfield units, in the geometry of the case's own MR."""

import dataclasses
import pathlib
from typing import NamedTuple

import numpy as np

from lift_jax.data.hounsfield import OUTSIDE
from lift_jax.data.paired_cases import PairedCase
from lift_jax.data.regrid import regrid_brain_onto
from lift_jax.data.synthrad import SynthradCases
from lift_jax.data.volumes import Grid, write_volume
from lift_jax.inference.ct import predict_ct
from lift_jax.inference.files import make_folder, output_path, write_facts
from lift_jax.trained import Trained


class ReadPair(NamedTuple):
    """An MR as it was read, the same on its own grid where it was resampled, and that grid."""

    case: PairedCase
    native: PairedCase | None
    grid: Grid
    has_mask: bool


class PredictedCt(NamedTuple):
    """A CT `[D, H, W]` in HU on the MR's own grid, and whether the body was given."""

    name: str
    grid: Grid
    ct: np.ndarray
    has_mask: bool


@dataclasses.dataclass(frozen=True)
class CtSynthesis:
    """Translates MRs and writes `<case>-ct.nii.gz`, int16 in HU, -1024 outside the body.

    Beside it, `<case>-synthesis.json` says what it was made from, and whether the body was given or found. Where the
    cases are resampled (`cases.side`), the result is interpolated back onto the MR's own grid. A `folder.CaseWork`.

    Attributes:
      trained: the run.
      cases: a folder of cases. A CT that a case has is not looked at.
      output: folder for the results; made if it is not there.
    """

    trained: Trained
    cases: SynthradCases
    output: pathlib.Path

    def __len__(self) -> int:
        """How many cases there are."""
        return len(self.cases.names)

    def outputs(self, index: int) -> list[pathlib.Path]:
        """The CT of a case, and what says how it was made."""
        return self._paths(self.cases.names[index])

    def read(self, index: int) -> ReadPair:
        """An MR, its body and its grid.

        Raises:
          UserError: if the case cannot be used.
        """
        kinds = ("mr", "mask")
        case, grid, native = self.cases.load(index, kinds=kinds), self.cases.geometry(index), None
        if self.cases.side is not None:
            native = dataclasses.replace(self.cases, side=None).load(index, kinds=kinds)
        return ReadPair(case, native, grid, self.cases.has_mask(index))

    def predict(self, work: ReadPair) -> PredictedCt:
        """The CT."""
        ct = predict_ct(self.trained.network, self.trained.params, work.case, **self.trained.options)
        if work.native is not None:
            ct = _onto_body(ct, work.case, work.native)
        return PredictedCt(work.case.name, work.grid, ct, work.has_mask)

    def write(self, result: PredictedCt, seconds: float) -> list[pathlib.Path]:
        """Writes a CT, and last what it was made from.

        Raises:
          UserError: if results cannot be written.
        """
        make_folder(self.output)
        path, facts_path = self._paths(result.name)
        write_volume(path, result.ct, result.grid, dtype=np.int16)
        body = "mask of the case" if result.has_mask else "found by threshold in the MR; check its outline"
        facts = {"case": result.name, "targets": ["ct"], "sources": ["mr"], "unit": "HU", "body": body}
        write_facts(facts_path, facts | {"side": self.cases.side, "seconds": round(seconds, 3)}, self.trained)
        return [path]

    def _paths(self, name: str) -> list[pathlib.Path]:
        return [output_path(self.output, name, ending) for ending in ("-ct.nii.gz", "-synthesis.json")]


def _onto_body(prediction: np.ndarray, case: PairedCase, native: PairedCase) -> np.ndarray:
    """A prediction on the grid of `native`, interpolated within the body alone: its skin is not mixed with air."""
    above = regrid_brain_onto(prediction - OUTSIDE, case.mask, case.affine, native.mask, native.affine)
    return above + np.float32(OUTSIDE)
