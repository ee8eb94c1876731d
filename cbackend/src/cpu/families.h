/* Declarations of the families' entry points, one group a family; see backend_families.h for their meaning. */
