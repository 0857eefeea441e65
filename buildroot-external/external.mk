# AINOS on Buildroot: our packages, and the kernel configured as `make image` does it.

AINOS_REPOSITORY = $(realpath $(BR2_EXTERNAL_AINOS_PATH)/..)
AINOS_VARIANT = $(call qstrip,$(BR2_AINOS_VARIANT))
AINOS_KERNEL = $(AINOS_REPOSITORY)/scripts/kernel --arch $(ARCH) \
	--set $(if $(filter base,$(AINOS_VARIANT)),base,server)
# For board/post-build.sh.
export AINOS_LINUX = $(LINUX_DIR)
AINOS_REQUESTED_CONFIG = $(BUILD_DIR)/ainos-requested.config

include $(sort $(wildcard $(BR2_EXTERNAL_AINOS_PATH)/package/*/*.mk))

# The fragments say everything that is on; what they do not name is off. A defconfig as the base would
# bring hundreds of its own options, so the base is allnoconfig, given the fragments from the start.
LINUX_KCONFIG_DEFCONFIG = allnoconfig
LINUX_KCONFIG_OPTS += KCONFIG_ALLCONFIG=$(AINOS_REQUESTED_CONFIG)

# Modules are signed when the tree is complete, with a key that lies outside this tree.
LINUX_MAKE_FLAGS += CONFIG_MODULE_SIG_ALL= INSTALL_MOD_STRIP=1

define AINOS_LINUX_REQUEST_CONFIG
	$(AINOS_KERNEL) fragments | xargs cat > $(AINOS_REQUESTED_CONFIG)
	$(AINOS_KERNEL) firmware $(@D)/firmware
endef
LINUX_POST_PATCH_HOOKS += AINOS_LINUX_REQUEST_CONFIG

# An option that Kconfig dropped fails the build with file and line. The certificate that modules are
# verified with is compiled in; its private key stays outside the tree.
define AINOS_LINUX_CHECK_CONFIG
	$(AINOS_KERNEL) check $(@D)/.config
	$(INSTALL) -D -m 0644 "$$($(AINOS_KERNEL) certificate)" $(@D)/certs/module-signing.pem
endef
LINUX_POST_CONFIGURE_HOOKS += AINOS_LINUX_CHECK_CONFIG
