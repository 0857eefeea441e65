/* What goes wrong with a driver: calls that fail, half succeed or lie, resets, reloads, delays.
 *
 * Directives of the injection file (see injection.c):
 *   fault <id> <call> <kind> <times>  the next so many calls go wrong; id 0 to 31, one for each line
 *     call: create-gpu-instance, create-compute-instance, destroy-compute-instance,
 *           destroy-gpu-instance
 *     kind: refuse     an error (INSUFFICIENT_RESOURCES or IN_USE), and nothing is done
 *           late       an error (UNKNOWN), though it is done
 *           nothing    no error, though nothing is done: remnants stay listed
 *           ghost      done, and the slices are given to nobody any more, listed or not
 *           elsewhere  an instance in another place; other: of another profile
 *           lose       the GPU falls off the bus (GPU_IS_LOST) until it is reset
 *           reset      the GPU is reset instead (RESET_REQUIRED)
 *           reload     the driver is loaded anew instead (UNINITIALIZED)
 *           die-before, die-after      the caller is killed, before or after it takes effect
 *   reset <gpu> <n>                   the GPU has been reset n times since the machine booted
 *   reload <n>                        the driver has been loaded anew n times since then
 *   no-ghosts                         slices that nobody was given are free again
 *   delay <percent>                   of the published times that changes take (see pause_for)
 *
 * A reset takes all instances, and their handles and the GPU's are dead. A reload does so on every
 * GPU; every process must shut NVML down and start it again; and MIG is off, except on boards before
 * Hopper, which keep the mode.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "emulator.h"

static const char *const KINDS[] = {
    [FAULT_NONE] = "none",           [FAULT_REFUSE] = "refuse",
    [FAULT_LATE] = "late",           [FAULT_NOTHING] = "nothing",
    [FAULT_GHOST] = "ghost",         [FAULT_ELSEWHERE] = "elsewhere",
    [FAULT_OTHER] = "other",         [FAULT_LOSE] = "lose",
    [FAULT_RESET] = "reset",         [FAULT_RELOAD] = "reload",
    [FAULT_DIE_BEFORE] = "die-before", [FAULT_DIE_AFTER] = "die-after",
};

static enum fault kind_of(const char *name)
{
    for (unsigned kind = 0; kind < sizeof KINDS / sizeof *KINDS; kind++)
        if (strcmp(KINDS[kind], name) == 0)
            return (enum fault)kind;
    return FAULT_NONE;
}

enum fault take_fault(struct session *session, const char *call)
{
    FILE *file = open_beside_state("inject");
    enum fault found = FAULT_NONE;
    char line[256], name[64], kind[64];
    unsigned id, times;
    while (file && found == FAULT_NONE && fgets(line, sizeof line, file))
        if (sscanf(line, "fault %u %63s %63s %u", &id, name, kind, &times) == 4 && id < MAX_FAULTS &&
            strcmp(name, call) == 0 && session->machine->spent[id] < times) {
            session->machine->spent[id]++;
            found = kind_of(kind);
        }
    if (file)
        fclose(file);
    return found;
}

void reset_gpu(struct session *session, unsigned index)
{
    struct gpu *gpu = &session->machine->gpus[index];
    memset(gpu->instances, 0, sizeof gpu->instances);
    gpu->lost = gpu->ghosts = 0;
    gpu->mig_current = gpu->mig_pending;
    gpu->generation++;
}

static void reload_driver(struct session *session)
{
    session->machine->reloads++;
    for (unsigned index = 0; index < session->machine->gpu_count; index++) {
        struct gpu *gpu = &session->machine->gpus[index];
        if (!BOARDS[gpu->board].reset_for_mig)
            gpu->mig_pending = 0;
        gpu->persistence = 0;
        reset_gpu(session, index);
    }
}

nvmlReturn_t fault_before(struct session *session, const struct target *target, enum fault fault,
                          nvmlReturn_t refusal)
{
    nvmlReturn_t result = NVML_SUCCESS;
    switch (fault) {
    case FAULT_REFUSE: result = refusal; break;
    case FAULT_LOSE:
        target->gpu->lost = 1;
        result = NVML_ERROR_GPU_IS_LOST;
        break;
    case FAULT_RESET:
        reset_gpu(session, target->index);
        result = NVML_ERROR_RESET_REQUIRED;
        break;
    case FAULT_RELOAD:
        reload_driver(session);
        result = NVML_ERROR_UNINITIALIZED;
        break;
    case FAULT_DIE_BEFORE:
        session_commit(session);
        raise(SIGKILL);
        break;
    default: return NVML_SUCCESS;
    }
    session_commit(session);
    return result;
}

nvmlReturn_t fault_after(enum fault fault)
{
    if (fault == FAULT_DIE_AFTER)
        raise(SIGKILL);
    return fault == FAULT_LATE ? NVML_ERROR_UNKNOWN : NVML_SUCCESS;
}

/* Resets and reloads that were asked for and are not done yet; whether there were any. */
bool apply_directives(struct session *session)
{
    FILE *file = open_beside_state("inject");
    struct machine *machine = session->machine;
    bool changed = false;
    char line[256];
    unsigned gpu, times;
    while (file && fgets(line, sizeof line, file)) {
        if (sscanf(line, "reset %u %u", &gpu, &times) == 2 && gpu < machine->gpu_count &&
            machine->gpus[gpu].resets < times) {
            machine->gpus[gpu].resets = (uint8_t)times;
            reset_gpu(session, gpu);
            changed = true;
        } else if (sscanf(line, "reload %u", &times) == 1 && machine->reloads_done < times) {
            machine->reloads_done = times;
            reload_driver(session);
            changed = true;
        }
    }
    if (file)
        fclose(file);
    return changed;
}

static unsigned delay_percent(void)
{
    const char *setting = getenv("AINOS_NVML_DELAY");
    unsigned percent = setting ? (unsigned)strtoul(setting, NULL, 10) : 0;
    FILE *file = open_beside_state("inject");
    char line[256];
    while (file && fgets(line, sizeof line, file))
        sscanf(line, "delay %u", &percent);
    if (file)
        fclose(file);
    return percent;
}

/* Published for the A100 (code of artecs-group): 0.16 to 0.24 s to create a GPU instance, 0.20 to
 * 0.22 s to destroy one, by its size. The change is seen at once; the caller waits.
 */
void pause_for(bool is_creation, unsigned memory)
{
    unsigned percent = delay_percent();
    unsigned long milliseconds = is_creation ? 160 + 80 * (memory - 1) / 7 : 200 + 20 * (memory - 1) / 7;
    unsigned long microseconds = milliseconds * percent * 10;
    struct timespec pause = {.tv_sec = (time_t)(microseconds / 1000000),
                             .tv_nsec = (long)(microseconds % 1000000) * 1000};
    if (microseconds)
        nanosleep(&pause, NULL);
}
