################################################################################
#
# tpm2-pytss
#
################################################################################

TPM2_PYTSS_VERSION = 2.3.0
TPM2_PYTSS_SITE = https://files.pythonhosted.org/packages/07/1f/0f2521440e330342ef757a6605b61e1dbf5fe47fd97397c6e5f02791d520
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
