################################################################################
#
# nvml-emulator
#
################################################################################

NVML_EMULATOR_VERSION = local
NVML_EMULATOR_SITE = $(BR2_EXTERNAL_AINOS_PATH)/../ainit/sched/emulator
NVML_EMULATOR_SITE_METHOD = local
NVML_EMULATOR_LICENSE = Apache-2.0
NVML_EMULATOR_LIBRARY = libnvidia-ml.so.1

define NVML_EMULATOR_BUILD_CMDS
	$(AINOS_REPOSITORY)/scripts/emulator --compiler $(TARGET_CC) \
		--out $(@D)/$(NVML_EMULATOR_LIBRARY)
endef

define NVML_EMULATOR_INSTALL_TARGET_CMDS
	$(INSTALL) -D -m 0755 $(@D)/$(NVML_EMULATOR_LIBRARY) \
		$(TARGET_DIR)/usr/lib/$(NVML_EMULATOR_LIBRARY)
endef

$(eval $(generic-package))
