package policy

// statefulKinds are the kinds whose deletion loses data, as group/Kind. "*"
// matches any characters but "/". Sources are the projects' own references.
var statefulKinds = []string{
	// Kubernetes: a Namespace and a CustomResourceDefinition take all with them
	// that they hold.
	"Namespace", "PersistentVolume", "PersistentVolumeClaim",
	"apps/StatefulSet",
	"apiextensions.k8s.io/CustomResourceDefinition",
	"snapshot.storage.k8s.io/VolumeSnapshot", "snapshot.storage.k8s.io/VolumeSnapshotContent",

	// PostgreSQL: CloudNativePG, Zalando, Crunchy Data, StackGres, Percona.
	"postgresql.cnpg.io/Cluster", "postgresql.cnpg.io/Database",
	"acid.zalan.do/postgresql",
	"postgres-operator.crunchydata.com/PostgresCluster",
	"stackgres.io/SGCluster", "stackgres.io/SGShardedCluster",
	"pgv2.percona.com/PerconaPGCluster",
	// MySQL and MariaDB: Oracle, Percona, MariaDB, Bitpoke, PlanetScale.
	"mysql.oracle.com/InnoDBCluster",
	"pxc.percona.com/PerconaXtraDBCluster", "ps.percona.com/PerconaServerMySQL",
	"k8s.mariadb.com/MariaDB", "k8s.mariadb.com/Database",
	"mysql.presslabs.org/MysqlCluster", "planetscale.com/VitessCluster",
	// Other databases.
	"mongodbcommunity.mongodb.com/MongoDBCommunity", "mongodb.com/MongoDB", "psmdb.percona.com/PerconaServerMongoDB",
	"cassandra.datastax.com/CassandraDatacenter", "k8ssandra.io/K8ssandraCluster", "scylla.scylladb.com/ScyllaCluster",
	"crdb.cockroachlabs.com/CrdbCluster", "pingcap.com/TidbCluster", "yugabyte.com/YBCluster",
	"clickhouse.altinity.com/ClickHouseInstallation", "clickhouse-keeper.altinity.com/ClickHouseKeeperInstallation",
	"couchbase.com/CouchbaseCluster", "couchbase.com/CouchbaseBucket", "databases.spotahome.com/RedisFailover",
	"redis.redis.opstreelabs.in/*", "app.redislabs.com/RedisEnterprise*", "dragonflydb.io/Dragonfly",
	"neo4j.com/Neo4jCluster", "kubedb.com/*", "apps.kubeblocks.io/Cluster",
	"etcd.database.coreos.com/EtcdCluster", "database.arangodb.com/ArangoDeployment",
	// Queues, streams and search.
	"kafka.strimzi.io/Kafka", "kafka.strimzi.io/KafkaNodePool", "kafka.strimzi.io/KafkaTopic",
	"cluster.redpanda.com/Redpanda", "cluster.redpanda.com/Topic",
	"rabbitmq.com/RabbitmqCluster", "rabbitmq.com/Queue", "rabbitmq.com/Vhost",
	"jetstream.nats.io/Stream", "pulsar.streamnative.io/*",
	"elasticsearch.k8s.elastic.co/Elasticsearch", "opensearch.opster.io/OpenSearchCluster",
	// Storage.
	"minio.min.io/Tenant", "ceph.rook.io/Ceph*", "longhorn.io/Volume", "objectbucket.io/ObjectBucketClaim",
	"velero.io/BackupStorageLocation",
	// Databases and buckets of clouds: Crossplane, ACK, Config Connector, Azure.
	"rds.aws.upbound.io/*", "dynamodb.aws.upbound.io/Table", "s3.aws.upbound.io/Bucket", "elasticache.aws.upbound.io/*",
	"sql.gcp.upbound.io/*", "spanner.gcp.upbound.io/*", "storage.gcp.upbound.io/Bucket",
	"dbforpostgresql.azure.upbound.io/*", "dbformysql.azure.upbound.io/*", "storage.azure.upbound.io/*",
	"rds.services.k8s.aws/DB*", "dynamodb.services.k8s.aws/Table", "s3.services.k8s.aws/Bucket", "elasticache.services.k8s.aws/*",
	"sql.cnrm.cloud.google.com/*", "spanner.cnrm.cloud.google.com/*", "storage.cnrm.cloud.google.com/StorageBucket",
	"dbforpostgresql.azure.com/*", "dbformysql.azure.com/*", "documentdb.azure.com/*", "storage.azure.com/StorageAccount*",
}

// networkPolicyKinds limit traffic beside the mesh, so that no Effect tells of
// their deletion.
var networkPolicyKinds = []string{
	"networking.k8s.io/NetworkPolicy",
	"policy.networking.k8s.io/AdminNetworkPolicy", "policy.networking.k8s.io/BaselineAdminNetworkPolicy",
	"policy.networking.k8s.io/ClusterNetworkPolicy",
	"cilium.io/CiliumNetworkPolicy", "cilium.io/CiliumClusterwideNetworkPolicy",
	"*projectcalico.org/NetworkPolicy", "*projectcalico.org/GlobalNetworkPolicy",
}
