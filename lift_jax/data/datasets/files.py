"""Files by a pattern of one's own, `config.data.pattern`, such as `{subject}/{subject}_{channel}.nii.gz`."""

import re

from lift_jax.data.datasets.naming import ENDINGS, MASK, SEGMENTATION, Naming
from lift_jax.errors import UserError

FIELDS = ("subject", "channel")


def naming(data) -> Naming:
    """The names of the files that fit the pattern, in which `*` is any text within a folder's or file's name.

    Where `{channel}` is "mask" or "segmentation", it is the file of that. `config.data.suffixes` gives the word in the
    file names for a channel, the mask or the segmentation, where it is not its name.

    Raises:
      UserError: the pattern lacks a field, has an unknown one, or does not end as a file that can be read.
    """
    pattern, form = data.pattern, 'such as "{subject}/{subject}_{channel}.nii.gz"'
    if not pattern:
        raise UserError(f"config.data.pattern: not set; give the names of the files below config.data.root, {form}")
    parts = re.split(r"\{(.*?)\}", pattern)
    fields = parts[1::2]
    problems = [f"lacks {{{field}}}" for field in FIELDS if field not in fields]
    problems += [f"{{{field}}} is neither {{subject}} nor {{channel}}" for field in fields if field not in FIELDS]
    if not pattern.endswith(ENDINGS):
        problems.append(f"does not end in {', '.join(ENDINGS)}")
    if problems:
        raise UserError(f"config.data.pattern: {pattern!r} {' and '.join(problems)}; give one {form}")
    kinds = {data.suffixes.get(kind, kind): kind for kind in (*data.channels, MASK, SEGMENTATION)}
    words = "|".join(map(re.escape, sorted(kinds, key=len, reverse=True)))
    groups = {"subject": "(?P<subject>[^/]+?)", "channel": f"(?P<kind>{words})"}
    repeated = {"subject": "(?P=subject)", "channel": "(?P=kind)"}
    regex, seen = [], set()
    for i, part in enumerate(parts):
        if i % 2 == 0:
            regex.append(re.escape(part).replace(r"\*", "[^/]*"))
        else:
            regex.append(repeated[part] if part in seen else groups[part])
            seen.add(part)
    shown = pattern.replace("{channel}", f"{{{','.join(kinds)}}}").replace("{subject}", "<subject>")
    return Naming(re.compile("".join(regex), re.DOTALL), kinds, shown)
