"""Truth and answer in, score out.  Scoring knows no run."""
