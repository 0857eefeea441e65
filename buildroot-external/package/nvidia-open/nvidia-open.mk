################################################################################
#
# nvidia-open
#
################################################################################

NVIDIA_OPEN_VERSION = 550.163.01
NVIDIA_OPEN_SITE = https://download.nvidia.com/XFree86/Linux-x86_64/$(NVIDIA_OPEN_VERSION)
NVIDIA_OPEN_SOURCE = NVIDIA-Linux-x86_64-$(NVIDIA_OPEN_VERSION).run
NVIDIA_OPEN_LICENSE = MIT or GPL-2.0 (kernel modules), NVIDIA Software License (all else)
NVIDIA_OPEN_LICENSE_FILES = LICENSE
NVIDIA_OPEN_REDISTRIBUTE = NO

define NVIDIA_OPEN_EXTRACT_CMDS
	$(SHELL) $(NVIDIA_OPEN_DL_DIR)/$(NVIDIA_OPEN_SOURCE) --extract-only --target $(@D)/archive
	chmod -R u+w $(@D)/archive
	mv $(@D)/archive/* $(@D)
	rm -r $(@D)/archive
endef

# The changes that `make image` makes to the modules for our kernel.
define NVIDIA_OPEN_PATCH_MODULES
	$(APPLY_PATCHES) $(@D)/kernel-open $(AINOS_REPOSITORY)/scripts/nvidia-patches \*.patch
endef
NVIDIA_OPEN_POST_PATCH_HOOKS += NVIDIA_OPEN_PATCH_MODULES

# What NVIDIA's own makefile passes to kbuild. Display is for workstations.
NVIDIA_OPEN_MODULE_SUBDIRS = kernel-open
NVIDIA_OPEN_MODULE_MAKE_OPTS = \
	NV_KERNEL_SOURCES=$(LINUX_DIR) \
	NV_KERNEL_OUTPUT=$(LINUX_DIR) \
	NV_KERNEL_MODULES="nvidia nvidia-uvm" \
	CONFIG_DEBUG_INFO_BTF_MODULES=

# board/post-build.sh signs the modules, and takes firmware, libraries and programs from here.
export NVIDIA_DRIVER = $(if $(BR2_PACKAGE_NVIDIA_OPEN),$(NVIDIA_OPEN_DIR))

$(eval $(kernel-module))
$(eval $(generic-package))
