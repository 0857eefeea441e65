################################################################################
#
# tpm2-pytss
#
################################################################################

# The same archive as Buildroot's own package.
TPM2_PYTSS_VERSION = $(PYTHON_TPM2_PYTSS_VERSION)
TPM2_PYTSS_SITE = $(PYTHON_TPM2_PYTSS_SITE)
TPM2_PYTSS_SOURCE = $(PYTHON_TPM2_PYTSS_SOURCE)
TPM2_PYTSS_DL_SUBDIR = python-tpm2-pytss
TPM2_PYTSS_SETUP_TYPE = setuptools
TPM2_PYTSS_LICENSE = BSD-2-Clause
TPM2_PYTSS_LICENSE_FILES = LICENSE
# What it names beside these it imports on the machine only.
TPM2_PYTSS_BUILD_OPTS = --skip-dependency-check
TPM2_PYTSS_DEPENDENCIES = \
	host-pkgconf \
	host-python-cffi \
	host-python-pkgconfig \
	host-python-pycparser \
	host-python-setuptools-scm \
	tpm2-tss

$(eval $(python-package))
