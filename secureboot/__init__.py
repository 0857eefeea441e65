"""Secure Boot: development keys, signing, enrolment and the prediction of boot measurements."""
