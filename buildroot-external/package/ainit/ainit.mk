################################################################################
#
# ainit
#
################################################################################

# The package stands for what ainit needs, and compiles its part in C. Its other files, units and
# agents are laid over the finished tree by board/post-build.sh, with the script that `make image`
# uses.
AINIT_VERSION = local
AINIT_SITE = $(BR2_EXTERNAL_AINOS_PATH)/../ainit
AINIT_SITE_METHOD = local
AINIT_LICENSE = Apache-2.0
AINIT_DEPENDENCIES = python3 ainos-wheels systemd-parts tpm2-pytss
AINIT_LIBRARY = libainit.so

define AINIT_BUILD_CMDS
	$(AINOS_REPOSITORY)/scripts/native --compiler $(TARGET_CC) \
		--out $(@D)/$(AINIT_LIBRARY)
endef

define AINIT_INSTALL_TARGET_CMDS
	$(INSTALL) -D -m 0755 $(@D)/$(AINIT_LIBRARY) \
		$(TARGET_DIR)/usr/lib/ainit/ainit/linux/$(AINIT_LIBRARY)
endef

$(eval $(generic-package))
