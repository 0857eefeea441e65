################################################################################
#
# ainos-wheels
#
################################################################################

# There is no source archive: scripts/wheels fetches the files of scripts/wheels*.txt into the
# download directory and checks each against the hash that the list gives.
AINOS_WHEELS_LICENSE = Apache-2.0, BSD-2-Clause, BSD-3-Clause, LGPL-2.1+ (pyudev), MIT, MIT-0
AINOS_WHEELS_DEPENDENCIES = python3
AINOS_WHEELS_PACKAGES = usr/lib/python$(PYTHON3_VERSION_MAJOR)/site-packages
AINOS_WHEELS_SCRIPT = $(AINOS_REPOSITORY)/scripts/wheels \
	--python $(PYTHON3_VERSION_MAJOR) --arch $(ARCH) --cache $(AINOS_WHEELS_DL_DIR)

define AINOS_WHEELS_FETCH
	$(AINOS_WHEELS_SCRIPT)
endef
AINOS_WHEELS_PRE_DOWNLOAD_HOOKS += AINOS_WHEELS_FETCH

define AINOS_WHEELS_INSTALL_TARGET_CMDS
	$(AINOS_WHEELS_SCRIPT) --lay $(TARGET_DIR)/$(AINOS_WHEELS_PACKAGES) \
		--components $(BUILD_DIR)/ainos-wheels.cdx.json
endef

$(eval $(generic-package))
