// The processor quota of a container or a job: microseconds of processor time that a control group
// may use per period. A group's limit holds for all that are below it, so every group from the
// process's own to the root is asked.
//
//   version 2: /sys/fs/cgroup/<path>/cpu.max            "max 100000" or "150000 100000"
//   version 1: /sys/fs/cgroup/<controllers>/<path>/cpu.cfs_quota_us and cpu.cfs_period_us
//
// <path> is in /proc/self/cgroup, one line per hierarchy: "0::/path" or "4:cpu,cpuacct:/path". In a
// container it may be the host's name for the group, whose files are then at the mount's root: what
// does not exist says nothing.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/thread_count.h"

namespace normkernels {
namespace {

constexpr size_t kPathBytes = 4096;

// The file's text, cut to what `text` holds; whether there is one. Without stdio, which allocates.
template <size_t N>
bool read_text(const char* path, char (&text)[N]) {
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  size_t length = 0;
  for (ssize_t got = 1; got > 0 && length < N - 1;) {
    got = read(file, text + length, N - 1 - length);
    if (got > 0) length += static_cast<size_t>(got);
  }
  close(file);
  text[length] = '\0';
  return length > 0;
}

int32_t whole_processors(long long quota, long long period) {
  if (quota <= 0 || period <= 0) return kMaxThreads;
  const long long whole = quota / period + (quota % period != 0 ? 1 : 0);
  return whole < kMaxThreads ? static_cast<int32_t>(whole) : kMaxThreads;
}

// A file of the group in `directory`, as text.
template <size_t N>
bool read_in(const char* directory, const char* name, char (&text)[N]) {
  char path[kPathBytes];
  const int length = snprintf(path, sizeof(path), "%s/%s", directory, name);
  return length > 0 && static_cast<size_t>(length) < sizeof(path) && read_text(path, text);
}

int32_t processors_of_group(const char* directory) {
  char text[64], period[64];
  if (read_in(directory, "cpu.max", text)) {
    char* end = nullptr;
    const long long quota = strtoll(text, &end, 10);  // 0 for "max"
    return whole_processors(quota, strtoll(end, nullptr, 10));
  }
  if (read_in(directory, "cpu.cfs_quota_us", text) &&
      read_in(directory, "cpu.cfs_period_us", period)) {
    return whole_processors(strtoll(text, nullptr, 10), strtoll(period, nullptr, 10));
  }
  return kMaxThreads;
}

// The least of the groups from mount/path up to mount.
int32_t processors_up_from(const char* root, const char* mount, const char* path) {
  char directory[kPathBytes];
  const int above = snprintf(directory, sizeof(directory), "%s/sys/fs/cgroup%s", root, mount);
  if (above < 0 || static_cast<size_t>(above) + strlen(path) >= sizeof(directory)) {
    return kMaxThreads;
  }
  strcpy(directory + above, path);
  int32_t least = kMaxThreads;
  for (;;) {
    const int32_t here = processors_of_group(directory);
    if (here < least) least = here;
    char* const slash = strrchr(directory + above, '/');
    if (slash == nullptr) return least;
    *slash = '\0';
  }
}

bool has_cpu(const char* controllers) {
  for (const char* name = controllers; name != nullptr; name = strchr(name, ',')) {
    if (*name == ',') ++name;
    if (strncmp(name, "cpu", 3) == 0 && (name[3] == '\0' || name[3] == ',')) return true;
  }
  return false;
}

}  // namespace

int32_t cgroup_processors(const char* root) {
  char groups[8192];
  if (!read_in(root, "proc/self/cgroup", groups)) return kMaxThreads;
  int32_t least = kMaxThreads;
  char* rest = groups;
  while (char* line = strsep(&rest, "\n")) {
    strsep(&line, ":");
    const char* controllers = strsep(&line, ":");
    if (controllers == nullptr || line == nullptr) continue;
    char mount[256] = "";
    if (*controllers != '\0') {
      if (!has_cpu(controllers)) continue;
      snprintf(mount, sizeof(mount), "/%s", controllers);
    }
    const int32_t here = processors_up_from(root, mount, line);
    if (here < least) least = here;
  }
  return least;
}

}  // namespace normkernels
