"""The parts of a run's fold: what is kept ready for the decision, in time that does not grow with the run."""
