import re
import subprocess
import sys

import pytest

from tests.commands import REPOSITORY


@pytest.mark.slow
def test_memory_does_not_grow_over_two_thousand_steps(environment):
    arguments = [sys.executable, "-m", "benchmarks.training_memory", "--steps=2000"]
    output = subprocess.run(
        arguments, cwd=REPOSITORY, env=environment, check=True, capture_output=True, text=True
    ).stdout
    assert float(re.search(r"to the last: (\S+) MiB", output)[1]) < 20, output  # of several hundred
