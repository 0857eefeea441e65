################################################################################
#
# ainit
#
################################################################################

AINIT_VERSION = local
AINIT_SITE = $(BR2_EXTERNAL_AINOS_PATH)/../ainit
AINIT_SITE_METHOD = local
AINIT_LICENSE = Apache-2.0
AINIT_REDISTRIBUTE = YES
AINIT_DEPENDENCIES = python3

# PID 1 names /usr/lib/ainit itself; its children find it through the path file.
define AINIT_INSTALL_TARGET_CMDS
	mkdir -p $(TARGET_DIR)/usr/lib/ainit/ainit
	rsync -a --delete --exclude '.*' --exclude __pycache__ \
		$(@D)/ $(TARGET_DIR)/usr/lib/ainit/ainit/
	echo /usr/lib/ainit > \
		$(TARGET_DIR)/usr/lib/python$(PYTHON3_VERSION_MAJOR)/site-packages/ainit.pth
endef

$(eval $(generic-package))
