# AINOS on Buildroot: our packages, and the kernel configured as `make image` does it.

AINOS_REPOSITORY = $(realpath $(BR2_EXTERNAL_AINOS_PATH)/..)
AINOS_VARIANT = $(call qstrip,$(BR2_AINOS_VARIANT))
AINOS_KERNEL = $(AINOS_REPOSITORY)/scripts/kernel --arch $(ARCH) \
	--set $(if $(filter base,$(AINOS_VARIANT)),base,server)
# For board/post-build.sh.
export AINOS_LINUX = $(LINUX_DIR)
# For a make that pkg-stats runs: Buildroot passes no variables of the command line on.
export AINOS_LINUX_TARBALL AINOS_RELEASE
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

# What the packages bring into the tree, for the bill of materials. The kernel is not in the tree; what
# has no source of its own, or the one that lies here, is no package to anybody else.
AINOS_COMPONENTS = $(BUILD_DIR)/ainos-packages.cdx.json
AINOS_INSTALLED = $(foreach package,$(filter-out linux linux-headers,$(PACKAGES)),$(call AINOS_IF_INSTALLED,$(call UPPERCASE,$(package))))
AINOS_IF_INSTALLED = $(if $(filter YES,$($(1)_INSTALL_TARGET)),$(if $(filter-out local,$($(1)_SITE_METHOD)),$(if $($(1)_SOURCE),$(1))))

define AINOS_COMPONENT
	{
		"type": "library",
		"bom-ref": $(call mk-json-str,pkg:generic/$($(1)_RAWNAME)@$($(1)_DL_VERSION)),
		"name": $(call mk-json-str,$($(1)_RAWNAME)),
		"version": $(call mk-json-str,$($(1)_DL_VERSION)),
		"purl": $(call mk-json-str,pkg:generic/$($(1)_RAWNAME)@$($(1)_DL_VERSION)),
		$(if $($(1)_CPE_ID_VALID),"cpe": $(call mk-json-str,$($(1)_CPE_ID))$(comma))
		"licenses": [ { "license": { "name": $(call mk-json-str,$($(1)_LICENSE)) } } ]
	}
endef

define AINOS_LIST_COMPONENTS
	$(file >$(AINOS_COMPONENTS),$(call clean-json,{ "components": [ \
		$(foreach package,$(AINOS_INSTALLED),$(call AINOS_COMPONENT,$(package))$(comma)) ] }))
endef
TARGET_FINALIZE_HOOKS += AINOS_LIST_COMPONENTS
