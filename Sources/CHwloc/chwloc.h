// hwloc for Swift: macros and inline searches that the importer does not bring over.
#ifndef CHWLOC_H
#define CHWLOC_H

#include <hwloc.h>

static inline unsigned chwloc_core_count(hwloc_topology_t topology) {
  int count = hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_CORE);
  return count > 0 ? (unsigned)count : 0;
}
static inline unsigned chwloc_pu_count(hwloc_topology_t topology) {
  int count = hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_PU);
  return count > 0 ? (unsigned)count : 0;
}
static inline hwloc_obj_t chwloc_core(hwloc_topology_t topology, unsigned index) {
  return hwloc_get_obj_by_type(topology, HWLOC_OBJ_CORE, index);
}
static inline hwloc_obj_t chwloc_pu(hwloc_topology_t topology, unsigned index) {
  return hwloc_get_obj_by_type(topology, HWLOC_OBJ_PU, index);
}
// Operating system index of the `index`-th processing unit of `object`, or -1 after the last.
static inline int chwloc_next_pu(hwloc_obj_t object, int previous) {
  return hwloc_bitmap_next(object->cpuset, previous);
}
// Logical index of the first NUMA node of `object`.
static inline unsigned chwloc_numa_node(hwloc_topology_t topology, hwloc_obj_t object) {
  int os_index = hwloc_bitmap_first(object->nodeset);
  hwloc_obj_t node = os_index < 0 ? NULL : hwloc_get_numanode_obj_by_os_index(topology, (unsigned)os_index);
  return node ? node->logical_index : 0;
}

#endif
