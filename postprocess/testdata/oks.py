"""Prints the expected values of TestOKS: pycocotools' formula in numpy."""
import numpy as np

sigmas = np.array([.26, .25, .25, .35, .35, .79, .79, .72, .72, .62, .62, 1.07, 1.07, .87, .87, .89, .89]) / 10
for shift in (0, 5, 20, 1000):
    e = shift**2 / (2 * sigmas) ** 2 / (10000 + np.spacing(1)) / 2
    print(shift, round(float(np.mean(np.exp(-e))), 6))
