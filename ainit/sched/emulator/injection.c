/* What tests and people inject: the file `<state>.inject` holds one directive a line.
 *
 *   process <gpu> <gpu instance> <compute instance> <pid> <bytes>   while that process lives
 *   set <gpu> <key> <number>          a sensor or counter (keys: readings.c, topology.c)
 *   lost <gpu>                        the GPU fell off the bus: GPU_IS_LOST
 *   die-before-commit                 the next change kills its process before it takes effect
 *   fault, reset, reload, delay, no-ghosts   see faults.c; hangs and recovery actions: trouble.c
 *   no-reset                          boards cannot be reset (a guest's pass-through GPU), so that a
 *                                     MIG mode which needs a reset stays pending
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "emulator.h"

FILE *open_beside_state(const char *suffix)
{
    const char *state = getenv("AINOS_NVML_STATE");
    char path[4096];
    int length = snprintf(path, sizeof path, "%s.%s", state ? state : DEFAULT_STATE, suffix);
    return length < (int)sizeof path ? fopen(path, "re") : NULL;
}

static FILE *open_injection(void)
{
    return open_beside_state("inject");
}

unsigned long long injected_reading(unsigned gpu, const char *key, unsigned long long fallback)
{
    FILE *file = open_injection();
    char line[256], name[64];
    unsigned index;
    unsigned long long number;
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "set %u %63s %llu", &index, name, &number) == 3 && index == gpu &&
            strcmp(name, key) == 0)
            fallback = number;
    if (file)
        fclose(file);
    return fallback;
}

bool is_injected(const char *word)
{
    FILE *file = open_injection();
    char line[256];
    bool found = false;
    while (file && !found && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = '\0';
        found = strcmp(line, word) == 0;
    }
    if (file)
        fclose(file);
    return found;
}

bool is_lost(const struct session *session, unsigned gpu)
{
    char line[32];
    if (session->machine->gpus[gpu].lost)
        return true;
    snprintf(line, sizeof line, "lost %u", gpu);
    return is_injected(line);
}

static bool is_on(const struct process *process, const struct target *target)
{
    return process->gpu == target->index &&
           (!target->instance || process->instance == target->instance_id) &&
           (!target->compute || process->compute == target->compute_id) &&
           (kill((int)process->pid, 0) == 0 || errno != ESRCH);
}

unsigned processes_of(const struct target *target, struct process found[MAX_PROCESSES])
{
    FILE *file = open_injection();
    char line[256];
    unsigned count = 0;
    while (file && count < MAX_PROCESSES && fgets(line, sizeof line, file)) {
        struct process *process = &found[count];
        if (sscanf(line, "process %u %u %u %u %llu", &process->gpu, &process->instance,
                   &process->compute, &process->pid, &process->bytes) == 5 &&
            is_on(process, target))
            count++;
    }
    if (file)
        fclose(file);
    return count;
}
