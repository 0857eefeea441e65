/* The shared state: one file, two copies of the machine, a word that says which copy counts.
 *
 * A call opens the file, takes flock(2) on it and maps it. Because every call has its own open file
 * description, the lock also holds between threads and after fork. A change is made in a private
 * copy, written to the copy that does not count, and published by one atomic store: a process that
 * is killed at any instruction leaves a consistent machine, and the kernel drops its lock.
 *
 * Environment: AINOS_NVML_STATE (path), AINOS_NVML_BOARDS (comma-separated boards) and
 * AINOS_NVML_MIG (1 or 0: the mode at boot). The last two matter when the file is made only; after
 * that the file is the machine. The right to change MIG is the right to write to the file, as it is
 * the right to open the capability node on a real machine.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "emulator.h"

static const char DEFAULT_BOARDS[] = "H100-80GB,H100-80GB";
enum { MAGIC = 0x4c4d564e }; /* "NVML" */

struct file {
    _Atomic uint32_t magic; /* written last: a file without it was never finished */
    uint32_t geometry;
    _Atomic uint32_t current;
    struct machine copies[2];
};

static const char *setting(const char *name, const char *fallback)
{
    const char *value = getenv(name);
    return value ? value : fallback;
}

/* Boards before Hopper keep the MIG mode in their InfoROM, here `<state>.inforom`: a digit a GPU. It
 * is there once a mode was switched; from then on, other boards start with MIG off.
 */
static void recall_modes(struct machine *machine)
{
    FILE *file = open_beside_state("inforom");
    char digits[MAX_GPUS + 1] = {0};
    if (!file)
        return;
    size_t count = fread(digits, 1, MAX_GPUS, file);
    fclose(file);
    for (unsigned index = 0; index < machine->gpu_count && count == machine->gpu_count; index++) {
        struct gpu *gpu = &machine->gpus[index];
        bool is_kept = BOARDS[gpu->board].reset_for_mig && digits[index] == '1';
        gpu->mig_current = gpu->mig_pending = is_kept;
    }
}

void remember_modes(const struct machine *machine)
{
    char path[4096];
    int length = snprintf(path, sizeof path, "%s.inforom",
                          setting("AINOS_NVML_STATE", DEFAULT_STATE));
    FILE *file = length < (int)sizeof path ? fopen(path, "we") : NULL;
    if (!file)
        return;
    for (unsigned index = 0; index < machine->gpu_count; index++)
        fputc('0' + machine->gpus[index].mig_current, file);
    fclose(file);
}

/* Build the machine that the environment describes. */
static nvmlReturn_t describe_machine(struct machine *machine)
{
    memset(machine, 0, sizeof *machine);
    uint8_t mig = strcmp(setting("AINOS_NVML_MIG", "1"), "0") != 0;
    const char *boards = setting("AINOS_NVML_BOARDS", DEFAULT_BOARDS);
    while (*boards) {
        size_t length = strcspn(boards, ",");
        unsigned board = 0;
        while (board < BOARD_COUNT && (strlen(BOARDS[board].name) != length ||
                                       strncmp(BOARDS[board].name, boards, length) != 0))
            board++;
        if (board == BOARD_COUNT || machine->gpu_count == MAX_GPUS)
            return NVML_ERROR_INVALID_ARGUMENT;
        struct gpu *gpu = &machine->gpus[machine->gpu_count++];
        gpu->board = (uint8_t)board;
        gpu->mig_current = gpu->mig_pending = mig;
        boards += length;
        boards += *boards == ',';
    }
    recall_modes(machine);
    return NVML_SUCCESS;
}

static nvmlReturn_t use_private_machine(struct session *session)
{
    session->machine = &session->next;
    return describe_machine(&session->next);
}

static nvmlReturn_t initialise(struct file *file)
{
    TRY(describe_machine(&file->copies[0]));
    file->geometry = GEOMETRY;
    atomic_store(&file->current, 0);
    atomic_store(&file->magic, MAGIC);
    return NVML_SUCCESS;
}

/* Open for writing when allowed; *writable says which. A negative result leaves errno. */
static int open_state(bool *writable)
{
    const char *path = setting("AINOS_NVML_STATE", DEFAULT_STATE);
    const char *slash = strrchr(path, '/');
    int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (file < 0 && errno == ENOENT && slash && slash != path) {
        char directory[4096] = {0};
        if ((size_t)(slash - path) < sizeof directory) {
            memcpy(directory, path, (size_t)(slash - path));
            mkdir(directory, 0755);
            file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
        }
    }
    *writable = file >= 0;
    return file >= 0 ? file : open(path, O_RDONLY | O_CLOEXEC);
}

static nvmlReturn_t map_state(struct session *session, bool change, bool writable)
{
    struct stat status;
    while (flock(session->file, change || writable ? LOCK_EX : LOCK_SH) != 0)
        REQUIRE(errno == EINTR, NVML_ERROR_OPERATING_SYSTEM);
    REQUIRE(fstat(session->file, &status) == 0, NVML_ERROR_OPERATING_SYSTEM);
    if (status.st_size < (off_t)sizeof(struct file)) {
        if (!writable)
            return use_private_machine(session);
        REQUIRE(ftruncate(session->file, sizeof(struct file)) == 0, NVML_ERROR_OPERATING_SYSTEM);
    }
    int protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
    void *mapping = mmap(NULL, sizeof(struct file), protection, MAP_SHARED, session->file, 0);
    REQUIRE(mapping != MAP_FAILED, NVML_ERROR_OPERATING_SYSTEM);
    session->mapping = mapping;

    struct file *file = mapping;
    if (atomic_load(&file->magic) != MAGIC) {
        if (!writable)
            return use_private_machine(session);
        TRY(initialise(file));
    }
    REQUIRE(file->geometry == GEOMETRY, NVML_ERROR_LIB_RM_VERSION_MISMATCH);
    session->next = file->copies[atomic_load(&file->current) & 1];
    session->machine = &session->next;
    if (apply_directives(session) && writable)
        session_commit(session);
    return NVML_SUCCESS;
}

nvmlReturn_t session_open(struct session *session, bool change)
{
    bool writable = false;
    session->file = open_state(&writable);
    if (change && !writable)
        return NVML_ERROR_NO_PERMISSION;
    /* Nobody has changed anything yet, and this caller cannot: the machine is as it booted. */
    if (session->file < 0)
        return use_private_machine(session);
    return map_state(session, change, writable);
}

void session_commit(struct session *session)
{
    struct file *file = session->mapping;
    uint32_t other = (atomic_load(&file->current) & 1) ^ 1;
    file->copies[other] = session->next;
    if (is_injected("die-before-commit"))
        raise(SIGKILL);
    atomic_store(&file->current, other);
}

void session_close(struct session *session)
{
    if (session->mapping)
        munmap(session->mapping, sizeof(struct file));
    if (session->file >= 0)
        close(session->file); /* which drops the lock */
    session->mapping = NULL;
    session->file = -1;
}

nvmlReturn_t state_prepare(uint32_t *reloads)
{
    __attribute__((cleanup(session_close))) struct session session = {.file = -1};
    TRY(session_open(&session, false));
    *reloads = session.machine->reloads;
    return NVML_SUCCESS;
}
