"""Motion in the frequency domain: spectra, their normalisation, modal simulation. Pure functions."""
