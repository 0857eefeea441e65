"""What the build scripts share: the host, the Debian archive, the kernel build and progress.

A script puts its own directory on ``sys.path`` and imports ``lib.<module>``. Standard library only,
because ``scripts/setup`` runs before anything is installed. Nothing in here is in the image.
"""
