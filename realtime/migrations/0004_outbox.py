from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('realtime', '0003_topics'),
    ]

    operations = [
        migrations.CreateModel(
            name='OutboxMessage',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('number', models.BigIntegerField(db_index=True, null=True)),
                ('destination', models.TextField()),
                ('headers', models.JSONField(default=dict)),
                ('body', models.BinaryField()),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('problem', models.CharField(blank=True, max_length=200)),
            ],
            options={
                'verbose_name': 'message of the outbox',
                'verbose_name_plural': 'messages of the outbox',
                'default_permissions': (),
            },
        ),
        migrations.CreateModel(
            name='OutboxNumber',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('last', models.BigIntegerField(default=0)),
            ],
            options={
                'default_permissions': (),
            },
        ),
    ]
