################################################################################
#
# ainit
#
################################################################################

# The package stands for what ainit imports. Its files, units and agents are laid over the finished
# tree by board/common/post-build.sh, with the script that `make image` uses.
AINIT_VERSION = local
AINIT_SITE = $(BR2_EXTERNAL_AINOS_PATH)/../ainit
AINIT_SITE_METHOD = local
AINIT_LICENSE = Apache-2.0
AINIT_DEPENDENCIES = python3

# Services are started without PYTHONPATH; this is how their interpreter finds ainit.
define AINIT_INSTALL_TARGET_CMDS
	echo /usr/lib/ainit > \
		$(TARGET_DIR)/usr/lib/python$(PYTHON3_VERSION_MAJOR)/site-packages/ainit.pth
endef

$(eval $(generic-package))
