################################################################################
#
# ainit
#
################################################################################

# The package stands for what ainit needs. Its files, units and agents are laid over the finished
# tree by board/post-build.sh, with the script that `make image` uses.
AINIT_VERSION = local
AINIT_SITE = $(BR2_EXTERNAL_AINOS_PATH)/../ainit
AINIT_SITE_METHOD = local
AINIT_LICENSE = Apache-2.0
AINIT_DEPENDENCIES = python3 ainos-wheels systemd-parts tpm2-pytss

$(eval $(generic-package))
