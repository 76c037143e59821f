"""Writes drift.json: what SciPy says of how far samples are apart.

python3 test/golden/drift.py   (with scipy and numpy)
"""
import json, os
import numpy, scipy
from scipy import special, stats

rng = numpy.random.default_rng(7)
pairs = {
    "same": (rng.normal(size=120), rng.normal(size=200)),
    "shifted": (rng.normal(0.5, 1, size=300), rng.normal(size=150)),
    "ties": (rng.integers(0, 4, size=90).astype(float), rng.integers(0, 5, size=140).astype(float)),
    "apart": (rng.uniform(5, 6, size=20), rng.uniform(0, 1, size=30)),
    "one": (numpy.array([0.25]), rng.uniform(0, 1, size=11)),
}
cases = []
for name, (a, b) in pairs.items():
    a, b = (numpy.sort(x.astype(numpy.float32)).astype(float) for x in (a, b))
    statistic = stats.ks_2samp(a, b).statistic
    n = len(a) * len(b) / (len(a) + len(b))
    cases.append(dict(
        name=name, sample=a.tolist(), reference=b.tolist(), statistic=float(statistic),
        pValue=float(special.kolmogorov(numpy.sqrt(n) * statistic)),
        wasserstein=float(stats.wasserstein_distance(a, b)),
    ))
out = dict(writer="test/golden/drift.py", numpy=numpy.__version__, scipy=scipy.__version__, cases=cases)
with open(os.path.join(os.path.dirname(__file__), "drift.json"), "w") as f:
    json.dump(out, f)
    f.write("\n")
