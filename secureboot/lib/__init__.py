"""What the verbs of secureboot/ share. Runs on the build host; nothing in here is in the image."""
