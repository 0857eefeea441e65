################################################################################
#
# systemd-parts
#
################################################################################

SYSTEMD_PARTS_VERSION = 258.7
SYSTEMD_PARTS_SITE = $(call github,systemd,systemd,v$(SYSTEMD_PARTS_VERSION))
SYSTEMD_PARTS_SOURCE = systemd-$(SYSTEMD_PARTS_VERSION).tar.gz
SYSTEMD_PARTS_DL_SUBDIR = systemd
SYSTEMD_PARTS_LICENSE = LGPL-2.1+, GPL-2.0+ (udev)
SYSTEMD_PARTS_LICENSE_FILES = LICENSE.GPL2 LICENSE.LGPL2.1
SYSTEMD_PARTS_CPE_ID_VENDOR = systemd_project
SYSTEMD_PARTS_CPE_ID_PRODUCT = systemd
SYSTEMD_PARTS_INSTALL_IMAGES = YES
SYSTEMD_PARTS_INSTALL_STAGING = YES
SYSTEMD_PARTS_PROVIDES = libudev
SYSTEMD_PARTS_DEPENDENCIES = \
	host-gperf \
	host-python-jinja2 \
	host-python-pyelftools \
	libcap \
	libxcrypt \
	util-linux-libs
SYSTEMD_PARTS_EFI = $(if $(BR2_x86_64),x64,aa64)
SYSTEMD_PARTS_CONF_OPTS = --auto-features=disabled -Dmode=release -Dbootloader=enabled -Defi=true
SYSTEMD_PARTS_FILES = \
	src/boot/systemd-boot$(SYSTEMD_PARTS_EFI).efi \
	src/boot/linux$(SYSTEMD_PARTS_EFI).efi.stub
SYSTEMD_PARTS_LIBRARY = libudev.so.1
# The file's own name has the library's whole version; Meson makes the link to it while it configures.
SYSTEMD_PARTS_NINJA_OPTS = $(SYSTEMD_PARTS_FILES) libudev

define SYSTEMD_PARTS_INSTALL_LIBRARY
	$(INSTALL) -D -m 0755 $(@D)/buildroot-build/$(SYSTEMD_PARTS_LIBRARY) \
		$(1)/usr/lib/$(SYSTEMD_PARTS_LIBRARY)
endef

define SYSTEMD_PARTS_INSTALL_STAGING_CMDS
	$(call SYSTEMD_PARTS_INSTALL_LIBRARY,$(STAGING_DIR))
endef

define SYSTEMD_PARTS_INSTALL_TARGET_CMDS
	$(call SYSTEMD_PARTS_INSTALL_LIBRARY,$(TARGET_DIR))
endef

define SYSTEMD_PARTS_INSTALL_IMAGES_CMDS
	mkdir -p $(BINARIES_DIR)/systemd-boot
	$(foreach file,$(SYSTEMD_PARTS_FILES),\
		$(INSTALL) -m 0644 $(@D)/buildroot-build/$(file) $(BINARIES_DIR)/systemd-boot/
	)
endef

$(eval $(meson-package))
