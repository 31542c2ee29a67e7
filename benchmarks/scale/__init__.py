"""What a trial costs the driver, from the first trials to the ten-thousandth, beside plain Ray Tune."""
